// Files that are dropped or chosen, and the microphone, to the server; its answers to cards.

import { Card, sentence } from "./card.js";
import { Microphone, wav } from "./microphone.js";

const LIVE_S = 10, FIRST_S = 0.5, PAUSE_MS = 500, TRIES = 5;
const get = id => document.getElementById(id);
const results = get("results"), button = get("record");
const pause = ms => new Promise(done => setTimeout(done, ms));
let limits = { seconds: 300, bytes: 32e6 };
let queue = Promise.resolve(); // files are sent one after another
let number = 0; // of recordings

function say(text, isFault = false) {
  get("status").textContent = text;
  get("status").classList.toggle("fault", isFault);
}

// The server's answer to a recording; raises an Error in words.
async function ask(audio, name, tries = TRIES) {
  if (audio.size > limits.bytes) throw new Error(`is larger than ${limits.bytes / 1e6} megabytes`);
  const query = new URLSearchParams({ track: "1", attention: "1", name });
  let response;
  try {
    response = await fetch(`predict?${query}`, { method: "POST", body: audio });
  } catch {
    throw new Error("could not be sent; is it a folder, or has the server been stopped");
  }
  const answer = await response.json();
  if (response.status === 503 && tries > 1) {
    await pause(1000);
    return ask(audio, name, tries - 1);
  }
  if (!response.ok) {
    const [before, ...after] = answer.error.split(": "); // the name stands before it already
    throw new Error(before === name ? after.join(": ") : answer.error);
  }
  return answer;
}

function newCard(name) {
  get("none").hidden = true;
  return new Card(results, name);
}

// Samples to draw of a file; null if this browser does not know its format.
async function samplesOf(file) {
  try {
    const context = new OfflineAudioContext(1, 1, 16000);
    return (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
  } catch {
    return null;
  }
}

async function classify(file, rest) {
  say(`Classifying ${file.name}${rest ? `, ${rest} more to come` : ""}…`);
  try {
    const answer = await ask(file, file.name);
    const card = newCard(file.name);
    card.show(answer, await samplesOf(file));
    card.finish(answer, file);
    say(`${file.name}: ${sentence(answer)}.`);
    return true;
  } catch (error) {
    fail(newCard(file.name), error);
    return false;
  }
}

function fail(card, error) {
  const name = card.title.textContent;
  card.fail(`This recording ${/^(is|has|could|\d)/.test(error.message) ? error.message : `was refused: ${error.message}`}.`);
  say(`${name}: ${error.message}.`, true);
}

function take(files) {
  const list = [...files];
  queue = queue.then(async () => {
    let failed = 0;
    for (const [i, file] of list.entries()) if (!(await classify(file, list.length - i - 1))) failed++;
    if (list.length > 1) say(`${list.length} files, ${failed} of them refused.`, failed > 0);
  });
}

// ------------------------------------------------------------------------------------------------ microphone

let microphone = null, isOpening = false;

// How long a recording may get.
function mostSeconds({ rate }) {
  return Math.floor(Math.min(limits.seconds, (limits.bytes - 44) / (2 * rate)));
}

async function start() {
  if (isOpening) return; // the button is not disabled meanwhile, since it would lose the keyboard's focus
  isOpening = true;
  try {
    microphone = await Microphone.open();
  } catch (error) {
    const refused = error.name === "NotAllowedError" ? "The microphone was not allowed; allow it in the browser, then record again." :
      error.name === "NotFoundError" ? "There is no microphone." : error.message;
    say(refused, true);
    return;
  } finally {
    isOpening = false;
  }
  button.textContent = "Stop";
  button.setAttribute("aria-pressed", "true");
  get("clock").hidden = false;
  say("Recording; speak.");
  live(microphone, newCard(`Recording ${++number}`));
}

// Classify the last seconds until the recording ends, then all of it.
async function live(opened, card) {
  const ticking = setInterval(() => { get("clock").textContent = `${opened.seconds.toFixed(1)} s`; }, 100);
  let told = "";
  while (microphone === opened) {
    await pause(PAUSE_MS);
    if (microphone !== opened) break;
    if (opened.seconds >= mostSeconds(opened) - 1) await stop(`Stopped: a recording has at most ${mostSeconds(opened)} seconds.`);
    if (microphone !== opened || opened.seconds < FIRST_S) continue;
    const samples = opened.last(LIVE_S), offset = opened.seconds - samples.length / opened.rate;
    try {
      const answer = await ask(wav(samples, opened.rate), "microphone", 1);
      if (microphone !== opened) break;
      card.show(answer, samples, offset);
      if (answer.emotion !== told) say(`Recording: ${sentence(answer)}.`);
      told = answer.emotion;
    } catch (error) {
      if (microphone === opened) say(`Recording: not classified; ${error.message}.`, true);
    }
  }
  clearInterval(ticking);
  await finish(opened, card);
}

async function finish(opened, card) {
  const samples = opened.last(Infinity), audio = wav(samples, opened.rate);
  try {
    const answer = await ask(audio, card.title.textContent);
    card.show(answer, samples);
    card.finish(answer, audio);
    say(`${card.title.textContent}: ${sentence(answer)}.`);
  } catch (error) {
    fail(card, error);
  }
}

async function stop(words = "Classifying the recording…") {
  const opened = microphone;
  microphone = null;
  button.textContent = "Record";
  button.setAttribute("aria-pressed", "false");
  get("clock").hidden = true;
  say(words);
  await opened.close();
}

// ---------------------------------------------------------------------------------------------------- begin

async function about() {
  try {
    const model = await (await fetch("model")).json();
    limits = model.limits;
    get("about").textContent = `Tells ${model.emotions.join(", ")} apart.`;
    get("bounds").textContent = `WAV, FLAC, OGG or MP3; at most ${limits.seconds} seconds and ${limits.bytes / 1e6} megabytes.`;
    for (const note of model.notes) {
      const item = document.createElement("li");
      item.textContent = note;
      get("limits").append(item);
      get("limits").hidden = false;
    }
  } catch {
    get("about").textContent = "The server does not answer; start it again, then load this page again.";
  }
}

get("files").addEventListener("change", event => {
  take(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
button.addEventListener("click", () => (microphone ? stop() : start()));
addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files);
});
about();
