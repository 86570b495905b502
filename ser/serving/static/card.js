// The card of a recording: its class, posteriors, drawing, player, and what must be known with it.

import { Chart } from "./chart.js";

const percent = value => `${Math.round(100 * value)} %`;
const classes = answer => Object.entries(answer.posterior);

function add(parent, name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

// How sure the model is: its posterior, or what its calibration makes of that.
function sureness(answer) {
  const calibrated = Math.abs(answer.confidence - answer.posterior[answer.emotion]) > 1e-6;
  return `${percent(answer.confidence)} sure${calibrated ? " (calibrated)" : ""}`;
}

// What a result says, in a sentence; also what a screen reader hears.
export function sentence(answer) {
  return `${answer.emotion}, ${sureness(answer)}`;
}

export class Card {
  constructor(results, name) {
    this.root = document.createElement("article");
    results.prepend(this.root);
    this.id = `card-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.root.setAttribute("aria-labelledby", this.id);
    const top = add(this.root, "div", "top");
    this.title = add(top, "h3", "", name);
    this.title.id = this.id;
    this.length = add(top, "span", "soft");
    this.label = add(this.root, "p", "label");
    this.bars = add(this.root, "ul", "bars");
    this.bars.setAttribute("aria-label", "Posterior of each class");
    const figure = add(this.root, "div", "chart");
    figure.setAttribute("role", "img");
    this.figure = figure;
    this.chart = new Chart(figure);
    this.reading = add(this.root, "p", "soft");
    this.reading.hidden = true;
    this.player = add(this.root, "audio");
    this.player.controls = true;
    this.player.hidden = true;
    this.notes = add(this.root, "ul", "notes");
    this.more = add(this.root, "div");
  }

  // An answer of the server; samples: what the waveform is drawn from, or null; offset: of the time axis.
  show(answer, samples, offset = 0) {
    this.length.textContent = offset ? "" : `${(answer.end - answer.start).toFixed(1)} s`;
    this.label.replaceChildren(`${answer.emotion} `);
    add(this.label, "small", "", sureness(answer));
    if (this.bars.childElementCount !== classes(answer).length) this.makeBars(answer);
    classes(answer).forEach(([, value], k) => {
      const row = this.bars.children[k];
      row.querySelector("i").style.width = `${100 * value}%`;
      row.lastElementChild.textContent = percent(value);
    });
    const has = [samples && "waveform", answer.track && "posteriors over time", answer.attention && "attention"];
    this.figure.setAttribute("aria-label", `Drawing of the ${has.filter(Boolean).join(", ")}; most likely ${answer.emotion}.`);
    this.chart.show(answer, samples, offset);
    this.notes.replaceChildren();
    for (const note of answer.notes) add(this.notes, "li", "", note);
  }

  makeBars(answer) {
    this.bars.replaceChildren();
    classes(answer).forEach(([emotion], k) => {
      const row = add(this.bars, "li");
      add(row, "span", "", emotion);
      add(add(row, "span", `bar c${k % 8}`), "i");
      add(row, "span", "share");
    });
  }

  // A player whose cursor moves along, a table of the track, and the answer as a file.
  finish(answer, audio) {
    this.player.src = URL.createObjectURL(audio);
    this.player.hidden = false;
    this.player.setAttribute("aria-label", `Play ${this.title.textContent}`);
    this.player.onerror = () => {
      this.player.hidden = true;
      this.reading.hidden = false;
      this.reading.textContent = "This browser does not play this kind of file.";
    };
    this.player.ontimeupdate = () => this.follow(answer);
    this.more.replaceChildren();
    if (answer.track) this.addTable(answer);
    const actions = add(this.more, "div", "actions");
    const link = add(actions, "a", "", "Save as JSON");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(answer, null, 1)], { type: "application/json" }));
    link.download = `${this.title.textContent}.json`;
    this.addRemoval(actions, [this.player.src, link.href]);
  }

  // What is wrong with a recording, instead of a result.
  fail(text) {
    for (const part of [this.label, this.bars, this.figure, this.player, this.notes]) part.remove();
    this.reading.textContent = text;
    this.reading.className = "fault";
    this.reading.hidden = false;
    this.more.replaceChildren();
    this.addRemoval(add(this.more, "div", "actions"), []);
  }

  addRemoval(actions, urls) {
    const remove = add(actions, "button", "", "Remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${this.title.textContent}`);
    remove.onclick = () => {
      for (const url of urls) URL.revokeObjectURL(url);
      const next = this.root.nextElementSibling?.querySelector(".actions button") ?? document.getElementById("files");
      this.root.remove();
      next.focus();
      document.getElementById("none").hidden = document.querySelector("article") !== null;
    };
  }

  follow(answer) {
    const now = this.player.currentTime;
    this.chart.point(now);
    if (!answer.track) return;
    const middles = answer.track.start.map((start, i) => Math.abs((start + answer.track.end[i]) / 2 - now));
    const i = middles.indexOf(Math.min(...middles));
    const [emotion, row] = Object.entries(answer.track.posterior).reduce((a, b) => (b[1][i] > a[1][i] ? b : a));
    this.reading.hidden = false;
    this.reading.textContent = `At ${now.toFixed(1)} s: ${emotion}, ${percent(row[i])}.`;
  }

  addTable(answer) {
    const details = add(this.more, "details");
    add(details, "summary", "", "Posteriors over time, as a table");
    const holder = add(details, "div", "scroll");
    holder.tabIndex = 0;
    holder.setAttribute("role", "region");
    holder.setAttribute("aria-label", "Posteriors over time");
    const table = add(holder, "table");
    const head = add(add(table, "thead"), "tr");
    for (const name of ["start s", "end s", ...Object.keys(answer.posterior)]) add(head, "th", "", name).scope = "col";
    const body = add(table, "tbody");
    answer.track.start.forEach((start, i) => {
      const row = add(body, "tr");
      for (const value of [start, answer.track.end[i]]) add(row, "td", "", value.toFixed(2));
      for (const posteriors of Object.values(answer.track.posterior)) add(row, "td", "", percent(posteriors[i]));
    });
  }
}
