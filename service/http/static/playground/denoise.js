// The section Denoise: its controls, the queue of pictures, the comparison of the current one and its curl line.

import { listModels } from "./api.js";
import { Compare } from "./compare.js";
import { curlLine } from "./curl.js";
import { denoise } from "./denoise-request.js";
import { drawPictures, hideProgress, showDownload, showProgress } from "./denoise-view.js";
import { showFigures } from "./figures.js";
import { levelText } from "./photo.js";
import { $, $$, announce, element, formatMilliseconds, guarded, showError } from "./ui.js";

const SAMPLE_NAME = "coffee.jpg";

const items = [];
let current = null;
let running = null;
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
  add(new File([await response.blob()], SAMPLE_NAME, { type: "image/jpeg" }));
}

/** Add files to the queue. Noise is added to the sample only, unless the user asks for more. */
function addFiles(files) {
  if (!files.length) return;
  showError("");
  if (items.length === 1 && items[0].file.name === SAMPLE_NAME) {
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
    await denoise(item, {
      onProgress: (progress) => item === current && showProgress(progress),
      onSent: () => item === current && showItem(item),
    });
    showError("");
    if (item.state === "running") item.state = "done";
    if (item === current) announce(`Denoised ${item.file.name} in ${formatMilliseconds(item.result.milliseconds)}.`);
  } catch (error) {
    if (item.query === snapshot) {
      item.state = error.name === "AbortError" ? "cancelled" : "failed";
      item.error = error.name === "AbortError" ? null : error;
      if (item.error) showError(named(item.error, item));
    }
  }
  if (item === current) hideProgress();
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
  showDownload(item, result);
  showCurl();
}

const drawQueue = () => drawPictures(items, current, { onPick: select, onRemove: discard });

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
