// A drawing of a recording over time: waveform, track, attention, and a cursor.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44, RIGHT = 8, GAP = 8;
const HEIGHTS = { waveform: 56, track: 120, attention: 48 };

function element(parent, name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// Lowest and highest sample of each of a number of columns.
export function envelope(samples, columns) {
  const rows = [];
  for (let i = 0; i < columns; i++) {
    const begin = Math.floor((i * samples.length) / columns);
    const end = Math.max(begin + 1, Math.floor(((i + 1) * samples.length) / columns));
    let low = 0, high = 0;
    for (let j = begin; j < end && j < samples.length; j++) {
      low = Math.min(low, samples[j]);
      high = Math.max(high, samples[j]);
    }
    rows.push([low, high]);
  }
  return rows;
}

function step(seconds, width) {
  const least = (seconds * 56) / width;
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200].find(size => size >= least) ?? 1800;
}

export class Chart {
  constructor(holder) {
    this.svg = element(holder, "svg", { "aria-hidden": "true" });
    this.holder = holder;
    new ResizeObserver(() => this.draw()).observe(holder);
  }

  // offset: what the time axis says at the recording's beginning, in seconds.
  show(answer, samples, offset = 0) {
    Object.assign(this, { answer, samples, offset });
    this.draw();
  }

  draw() {
    const width = this.holder.clientWidth;
    if (!this.answer || width < 60) return;
    this.width = width - LEFT - RIGHT;
    this.svg.replaceChildren();
    let top = 4;
    const parts = [["waveform", this.samples, "sound"], ["track", this.answer.track, "track"],
      ["attention", this.answer.attention, "attn."]];
    for (const [name, data, label] of parts) {
      if (!data) continue;
      element(this.svg, "text", { x: 0, y: top + HEIGHTS[name] / 2 + 4 }, label);
      this[name](data, top, HEIGHTS[name]);
      top += HEIGHTS[name] + GAP;
    }
    this.axis(top);
    this.cursor = element(this.svg, "line", { class: "cursor", y1: 0, y2: top, visibility: "hidden" });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${top + 22}`);
  }

  x(seconds) { return LEFT + ((seconds - this.answer.start) / (this.answer.end - this.answer.start)) * this.width; }

  waveform(samples, top, height) {
    const columns = Math.max(1, Math.floor(this.width / 2));
    const rows = envelope(samples, columns);
    const most = Math.max(1e-9, ...rows.map(([low, high]) => Math.max(-low, high)));
    const y = value => top + (height / 2) * (1 - value / most);
    const at = i => LEFT + ((i + 0.5) * this.width) / columns;
    const upper = rows.map(([, high], i) => `${at(i).toFixed(1)},${(y(high) - 0.4).toFixed(1)}`);
    const lower = rows.map(([low], i) => `${at(i).toFixed(1)},${(y(low) + 0.4).toFixed(1)}`).reverse();
    element(this.svg, "polygon", { class: "wave", points: [...upper, ...lower].join(" ") });
  }

  track(track, top, height) {
    const y = value => top + height * (1 - value);
    for (const value of [0, 0.5, 1]) {
      element(this.svg, "path", { class: "axis", d: `M${LEFT},${y(value)}h${this.width}` });
      if (value !== 0.5) element(this.svg, "text", { x: LEFT - 6, y: y(value) + (value ? 10 : 0), "text-anchor": "end" }, value);
    }
    Object.values(track.posterior).forEach((row, k) => {
      const points = row.map((value, i) => [this.x((track.start[i] + track.end[i]) / 2), y(value)]);
      points.unshift([this.x(track.start[0]), points[0][1]]); // the first and last window stand for their ends, too
      points.push([this.x(track.end.at(-1)), points.at(-1)[1]]);
      const text = points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
      element(this.svg, "polyline", { class: `curve c${k % 8} d${k % 4}`, points: text });
    });
  }

  attention(attention, top, height) {
    const columns = Math.max(1, Math.floor(this.width));
    const most = new Float64Array(columns);
    attention.weights.forEach((weight, t) => {
      const half = attention.shift / 2, middle = attention.middle + t * attention.shift;
      const from = Math.max(0, Math.floor(this.x(middle - half) - LEFT));
      const to = Math.min(columns - 1, Math.floor(this.x(middle + half) - LEFT));
      for (let i = from; i <= to; i++) most[i] = Math.max(most[i], weight);
    });
    const highest = Math.max(1e-12, ...most);
    const points = Array.from(most, (weight, i) => `${LEFT + i},${(top + height * (1 - weight / highest)).toFixed(1)}`);
    const base = top + height;
    element(this.svg, "polygon", { class: "attention", points: [`${LEFT},${base}`, ...points, `${LEFT + columns},${base}`].join(" ") });
  }

  axis(top) {
    const { start, end } = this.answer;
    const size = step(end - start, this.width);
    element(this.svg, "path", { class: "axis", d: `M${LEFT},${top}h${this.width}` });
    for (let i = Math.ceil((start + this.offset) / size); i * size <= end + this.offset + 1e-9; i++) {
      const x = this.x(i * size - this.offset);
      element(this.svg, "path", { class: "axis", d: `M${x},${top}v4` });
      const anchor = x > LEFT + this.width - 16 ? "end" : "middle";
      element(this.svg, "text", { x, y: top + 17, "text-anchor": anchor }, `${+(i * size).toFixed(1)} s`);
    }
  }

  // Puts the cursor to a time of the recording.
  point(seconds) {
    if (!this.cursor) return;
    const x = this.x(Math.min(seconds, this.answer.end));
    for (const key of ["x1", "x2"]) this.cursor.setAttribute(key, x);
    this.cursor.setAttribute("visibility", "visible");
  }
}
