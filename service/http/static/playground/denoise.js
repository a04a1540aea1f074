// The section Denoise: a queue of pictures, the comparison of the current one, its figures and its curl line.

import { listModels, send } from "./api.js";
import { Compare } from "./compare.js";
import { curlLine } from "./curl.js";
import { readStages, showFigures } from "./figures.js";
import { levelText, psnr, withNoise } from "./photo.js";
import { $, $$, announce, element, format, formatMilliseconds, guarded, showError } from "./ui.js";

const EXTENSIONS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };
const MAX_PSNR_PIXELS = 16e6;
const SLOW_MILLISECONDS = 400; // a request that takes longer shows its progress

const items = [];
let current = null;
let running = null;
let rate = 1e6 / 1500; // pixels a millisecond, measured at each request
let compare;
let markStarted;
const started = new Promise((resolve) => (markStarted = resolve));

export async function start() {
  compare = new Compare($("#compare"), (scale) => ($("#zoom-level").textContent = `${Math.round(scale * 100)} %`));
  bindInputs();
  bindParameters();
  showCurl();
  await Promise.all([guarded(fillModelSelect), addSample()]);
  markStarted();
}

export async function retry() {
  await fillModelSelect();
  for (const item of items.filter((one) => one.error)) restart(item);
}

async function fillModelSelect() {
  const { models } = await listModels();
  const able = models.filter((model) => model.operations.includes("denoise"));
  const standard = able.find((model) => model.default_for.includes("denoise"));
  const first = standard ? `Default (${standard.name})` : "Default";
  const options = able.map(({ name }) => element("option", { value: name, textContent: name }));
  $("#denoise-model").replaceChildren(element("option", { value: "", textContent: first }), ...options);
  if (!standard && able.length > 1) $("#denoise-model").value = able[0].name;
  showCurl();
}

/** Return the query of a request, of what differs from the default. */
function query() {
  const strength = Number($("#strength").value);
  return {
    model: $("#denoise-model").value,
    strength: strength === 1 ? "" : String(strength),
    metadata: $("#metadata").value === "keep" ? "" : "strip",
  };
}

const noise = () => ({ kind: $("#noise-kind").value, level: Number($("#noise-level").value) });

function bindInputs() {
  $("#file").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
  $("#sample").addEventListener("click", () => guarded(addSample));
}

/** Take files that are dropped or pasted on any section. */
export function bindDocument() {
  let depth = 0;
  const withFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (shown) => document.body.classList.toggle("dropping", shown);
  document.addEventListener("dragenter", (event) => withFiles(event) && mark(++depth > 0));
  document.addEventListener("dragleave", (event) => withFiles(event) && mark(--depth > 0));
  document.addEventListener("dragover", (event) => withFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    mark((depth = 0) > 0);
    takeFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    takeFiles(event.clipboardData.files);
  });
}

/** Go to this section, and add files once it is there. */
async function takeFiles(list) {
  const files = [...list]; // the list is empty after the event
  location.hash = "#denoise";
  await started;
  addFiles(files);
}

function bindParameters() {
  const texts = () => {
    const { kind, level } = noise();
    $("#noise-text").textContent = levelText(kind, level);
    $("#noise-level").disabled = kind === "none";
    $("#strength-text").textContent = `${Math.round(100 * Number($("#strength").value))} %`;
    showCurl();
  };
  for (const selector of ["#noise-kind", "#noise-level", "#denoise-model", "#strength", "#metadata"]) {
    $(selector).addEventListener("input", texts);
    $(selector).addEventListener("change", () => current && restart(current, selector.startsWith("#noise")));
  }
  $("#denoise-form").addEventListener("submit", (event) => event.preventDefault());
  for (const button of $$("[data-zoom]")) {
    const work = { in: "zoomIn", out: "zoomOut", fit: "fit", full: "full" }[button.dataset.zoom];
    button.addEventListener("click", () => compare[work]());
  }
  $("#copy-curl").addEventListener("click", () => guarded(copyCurl));
  $("#compare .cancel").addEventListener("click", () => running?.abort.abort());
}

async function addSample() {
  const response = await fetch(new URL("./sample.jpg", import.meta.url));
  add(new File([await response.blob()], "colosseum.jpg", { type: "image/jpeg" }));
}

/** Add files to the queue. Noise is added to the sample only, unless the user asks for more. */
function addFiles(files) {
  if (!files.length) return;
  showError("");
  if (items.length === 1 && items[0].file.name === "colosseum.jpg") {
    $("#noise-kind").value = "none";
    $("#noise-kind").dispatchEvent(new Event("input"));
  }
  for (const file of files) add(file);
}

function add(file) {
  const item = { file, state: "waiting", url: URL.createObjectURL(file) };
  items.push(item);
  if (items.filter((one) => one.state === "waiting").length === 1 || items.length === 1) select(item);
  restart(item, true);
}

/** Queue a picture with the present parameters; `resend` makes what is sent anew. */
function restart(item, resend = false) {
  if (item === running) item.abort.abort();
  Object.assign(item, { state: "waiting", error: null, query: query(), noise: noise() });
  if (resend) item.sent = null;
  drawQueue();
  work();
}

/** Process the waiting pictures one after the other. */
async function work() {
  if (running) return;
  const item = items.find((one) => one === current && one.state === "waiting") ?? items.find((one) => one.state === "waiting");
  if (!item) return;
  running = item;
  item.state = "running";
  item.abort = new AbortController();
  drawQueue();
  const snapshot = item.query;
  try {
    await process(item);
    if (item.state === "running") item.state = "done";
    if (item === current) announce(`Denoised ${item.file.name} in ${formatMilliseconds(item.result.milliseconds)}.`);
  } catch (error) {
    if (item.query === snapshot) {
      item.state = error.name === "AbortError" ? "cancelled" : "failed";
      item.error = error.name === "AbortError" ? null : error;
      if (item.error) showError(named(item.error, item));
    }
  }
  running = null;
  if (item === current) await showItem(item);
  drawQueue();
  work();
}

/** Return the error with the name of the picture, if there are several. */
function named(error, item) {
  if (items.length < 2 || error.status === 401) return error;
  return Object.assign(new Error(`${item.file.name}: ${error.message}`), { status: error.status });
}

async function process(item) {
  const { file, abort } = item;
  const { kind, level } = item.noise;
  const slow = setTimeout(() => showProgress(item, "preparing", null), SLOW_MILLISECONDS);
  try {
    item.size ??= await sizeOf(file);
    if (kind !== "none" && !item.size) throw new Error("The browser cannot show this format, so noise cannot be added to it. Choose “None”.");
    if (!item.sent) {
      const sent = kind === "none" ? file : await withNoise(file, kind, level);
      abort.signal.throwIfAborted(); // another level may have been chosen meanwhile
      item.sent = sent;
      if (item.sentUrl) URL.revokeObjectURL(item.sentUrl);
      item.sentUrl = item.sent === file ? "" : URL.createObjectURL(item.sent);
      if (item === current) await showItem(item);
    }
    const pixels = item.size ? item.size.width * item.size.height : 0;
    const started = performance.now();
    let phase = ["sending", 0];
    const timer = setInterval(() => performance.now() - started > SLOW_MILLISECONDS && showProgress(item, ...phase, pixels, started), 100);
    try {
      const answer = await send("denoise", {
        query: item.query,
        body: item.sent,
        type: item.sent.type || "application/octet-stream",
        signal: abort.signal,
        onProgress: (...next) => (phase = next),
      });
      const blob = new Blob([answer.body], { type: answer.header("Content-Type") });
      if (pixels) rate = pixels / answer.milliseconds;
      keep(item, blob, answer);
    } finally {
      clearInterval(timer);
    }
    if (kind !== "none" && pixels <= MAX_PSNR_PIXELS) {
      const [sent, denoised] = await Promise.all([psnr(file, item.sent), psnr(file, item.result.blob)]);
      item.result.psnr = { sent, denoised };
    }
    showError("");
  } finally {
    clearTimeout(slow);
    if (item === current) hideProgress();
  }
}

function keep(item, blob, answer) {
  if (item.result) URL.revokeObjectURL(item.result.url);
  item.result = {
    blob,
    stages: readStages(answer.header("Server-Timing")),
    url: URL.createObjectURL(blob),
    milliseconds: answer.milliseconds,
    sigma: Number(answer.header("X-Noise-Sigma")),
    model: answer.header("X-Model"),
    dropped: answer.header("X-Metadata-Dropped"),
    resized: answer.header("X-Original-Size"),
    depth: answer.header("X-Original-Bit-Depth"),
  };
}

/** Return the size of a picture, or null if the browser does not know its format. */
async function sizeOf(file) {
  try {
    const { width, height } = await createImageBitmap(file);
    return { width, height };
  } catch {
    return null;
  }
}

// What is shown

async function select(item) {
  current = item;
  drawQueue();
  hideProgress();
  if (item.error) showError(named(item.error, item));
  else showError("");
  await showItem(item);
}

async function showItem(item) {
  const result = item.state === "done" || item.result ? item.result : null;
  $("#compare .badge.left").textContent = item.sent && item.sent !== item.file ? "With noise" : "Sent";
  await compare.show(item.sentUrl || item.url, result?.url ?? "", true);
  if (item !== current) return;
  showFigures(item, result);
  const link = $("#download");
  if (result) {
    link.href = result.url;
    link.download = downloadName(item);
    link.removeAttribute("aria-disabled");
  } else {
    link.removeAttribute("href");
    link.setAttribute("aria-disabled", "true");
  }
  showCurl();
}

/** Return the name of the original, with the extension of the answer if that is of another type. */
function downloadName({ file, result }) {
  const extension = EXTENSIONS[result.blob.type] ?? "png";
  const own = file.name.split(".").pop().toLowerCase();
  if (own === extension || (own === "jpeg" && extension === "jpg")) return file.name;
  return `${file.name.replace(/\.[^.]*$/, "")}.${extension}`;
}

function showProgress(item, phase, share, pixels = 0, started = 0) {
  if (item !== current) return;
  const bar = $("#compare progress");
  const seconds = (performance.now() - started) / 1e3;
  const expected = pixels / rate / 1e3;
  $("#compare .wait").hidden = false;
  const words = { sending: "Sending", receiving: "Receiving", preparing: "Preparing the picture" };
  if (phase === "computing") {
    $("#compare .wait-text").textContent = `Denoising: ${seconds.toFixed(0)} s of about ${Math.max(expected, seconds).toFixed(0)} s`;
    bar.value = Math.min(95, (100 * seconds) / Math.max(expected, 0.1));
  } else {
    $("#compare .wait-text").textContent = words[phase] + (share == null ? "" : `: ${Math.round(share * 100)} %`);
    if (share == null) bar.removeAttribute("value");
    else bar.value = share * 100;
  }
}

function hideProgress() {
  $("#compare .wait").hidden = true;
}

const STATES = { waiting: "Waiting", running: "Working…", cancelled: "Cancelled", failed: "Failed" };

function drawQueue() {
  $("#queue").hidden = items.length < 2;
  const focused = $$("#queue button").indexOf(document.activeElement);
  $("#queue ul").replaceChildren(...items.map(queueItem));
  $$("#queue button")[focused]?.focus();
}

function queueItem(item) {
  const text = item.state === "done" ? `${formatMilliseconds(item.result.milliseconds)}, σ ${format(item.result.sigma * 255)}` : STATES[item.state];
  const pick = element(
    "button",
    { type: "button", className: "pick" },
    element("img", { src: item.url, alt: "", loading: "lazy" }),
    element("b", { textContent: item.file.name }),
    element("span", { textContent: text }),
  );
  pick.addEventListener("click", () => select(item));
  if (item === current) pick.setAttribute("aria-current", "true");
  const remove = element("button", { type: "button", textContent: "×" });
  remove.setAttribute("aria-label", `Remove ${item.file.name}`);
  remove.addEventListener("click", () => discard(item));
  const row = element("li", { className: item === current ? "current" : "" }, pick, remove);
  row.dataset.state = item.state;
  return row;
}

function discard(item) {
  if (item === running) item.abort.abort();
  const at = items.indexOf(item);
  items.splice(at, 1);
  for (const url of [item.url, item.sentUrl, item.result?.url]) if (url) URL.revokeObjectURL(url);
  if (item === current && items.length) select(items[Math.max(0, at - 1)]);
  drawQueue();
}

const curl = () => curlLine(query(), current?.file ?? { name: "photo.jpg", type: "image/jpeg" });

function showCurl() {
  $("#curl").textContent = curl();
}

async function copyCurl() {
  const button = $("#copy-curl");
  try {
    await navigator.clipboard.writeText(curl());
    button.textContent = "Copied";
    announce("The curl line is in the clipboard.");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  } catch {
    getSelection().selectAllChildren($("#curl")); // without HTTPS there is no clipboard: the text is selected instead
    announce("The curl line is selected.");
  }
}
