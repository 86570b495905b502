// The microphone: samples as they come, and WAV of them.

// An open microphone; samples are in [-1, 1], one channel.
export class Microphone {
  constructor(context, stream) {
    this.context = context;
    this.stream = stream;
    this.blocks = [];
    this.length = 0; // samples so far
  }

  static async open() {
    if (!navigator.mediaDevices || !window.AudioWorkletNode)
      throw new Error("This browser records only on pages of this machine (http://localhost) or over HTTPS.");
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    const context = new AudioContext();
    const microphone = new Microphone(context, stream);
    try {
      await context.audioWorklet.addModule("recorder.js");
      const recorder = new AudioWorkletNode(context, "recorder");
      recorder.port.onmessage = ({ data }) => {
        microphone.blocks.push(data);
        microphone.length += data.length;
      };
      context.createMediaStreamSource(stream).connect(recorder).connect(context.destination);
      await context.resume();
    } catch (error) {
      await microphone.close();
      throw error;
    }
    return microphone;
  }

  get rate() { return this.context.sampleRate; }
  get seconds() { return this.length / this.rate; }

  // The last samples, at most so many seconds.
  last(seconds) {
    const number = Math.min(this.length, Math.round(seconds * this.rate));
    const samples = new Float32Array(number);
    let place = number;
    for (let i = this.blocks.length - 1; place > 0; i--) {
      const block = this.blocks[i].subarray(Math.max(0, this.blocks[i].length - place));
      place -= block.length;
      samples.set(block, place);
    }
    return samples;
  }

  async close() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}

// A WAV file of 16 bits.
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, word) => [...word].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * value))), true));
  return new Blob([view], { type: "audio/wav" });
}
