// Hands the microphone's samples, the mean of its channels, to the page; runs beside it, in the audio thread.
class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) {
      const mean = new Float32Array(channels[0].length);
      for (const channel of channels)
        for (let i = 0; i < mean.length; i++) mean[i] += channel[i] / channels.length;
      this.port.postMessage(mean, [mean.buffer]);
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
