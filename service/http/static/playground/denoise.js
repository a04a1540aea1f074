// The section Denoise: its controls, the queue of pictures, the comparison of the current one and its curl line.

import { getFile, listModels } from "./api.js";
import { Compare } from "./compare.js";
import { copyLine, curlLine } from "./curl.js";
import { drawPictures, sentFile, showDownload, showSent } from "./denoise-view.js";
import { showFigures } from "./figures.js";
import { bindDialog, bindDropAndPaste } from "./file-inputs.js";
import { levelText } from "./photo.js";
import { PictureQueue } from "./picture-queue.js";
import { Progress } from "./progress.js";
import { $, $$, announce, element, formatMilliseconds, guarded, showError } from "./ui.js";

const SAMPLE_NAME = "coffee.jpg";
const SETTLE_MILLISECONDS = 150; // a slider is followed when it has rested for so long
const FIELDS = { kind: "#noise-kind", level: "#noise-level", model: "#denoise-model", strength: "#strength", metadata: "#metadata" };

const queue = new PictureQueue({ changed: drawQueue, progressed: showProgress, prepared, ended });
let sample = null;
let compare;
let progress;
let markStarted;
const started = new Promise((resolve) => (markStarted = resolve));

export async function start() {
  compare = new Compare($("#compare"), (scale) => ($("#zoom-level").textContent = `${Math.round(scale * 100)} %`));
  progress = new Progress($("#compare .wait"));
  bindDialog(addFiles);
  bindParameters();
  bindButtons();
  showTexts();
  await guarded(fillModelSelect);
  await guarded(addSample);
  markStarted();
}

export async function retry() {
  await fillModelSelect();
  for (const item of queue.items.filter(({ error }) => error)) {
    queue.restart(item, item === queue.current ? formParameters() : { ...item.parameters });
  }
}

/** Take files that are dropped or pasted on any section: go to this one, and add them once it is there. */
export function bindDocument() {
  bindDropAndPaste(async (files) => {
    location.hash = "#denoise";
    await started;
    addFiles(files);
  });
}

async function fillModelSelect() {
  const { models } = await listModels();
  const able = models.filter((model) => model.operations.includes("denoise"));
  const standard = able.find((model) => model.default_for.includes("denoise"));
  const first = standard ? `Default (${standard.name})` : "Default";
  const options = able.map(({ name }) => element("option", { value: name, textContent: name }));
  $("#denoise-model").replaceChildren(element("option", { value: "", textContent: first }), ...options);
  if (!standard && able.length > 1) $("#denoise-model").value = able[0].name;
  showTexts();
}

// Parameters

/** Return the parameters in the form; `query` has what differs from the default of the service. */
function formParameters() {
  const value = (name) => $(FIELDS[name]).value;
  const kind = value("kind");
  const level = Number(value("level"));
  const model = value("model");
  const strength = Number(value("strength"));
  const metadata = value("metadata");
  const query = { model, strength: strength === 1 ? "" : String(strength), metadata: metadata === "keep" ? "" : metadata };
  return { kind, level, model, strength, metadata, query };
}

/** Show the parameters of a picture in the form. */
function showParameters(parameters) {
  for (const [name, selector] of Object.entries(FIELDS)) $(selector).value = parameters[name];
  showTexts();
}

/** Show the values of the sliders, and the curl line. */
function showTexts() {
  const { kind, level, strength } = formParameters();
  $("#noise-text").textContent = levelText(kind, level);
  $("#noise-level").disabled = kind === "none";
  $("#strength-text").textContent = `${Math.round(100 * strength)} %`;
  $("#curl").textContent = curl();
}

function bindParameters() {
  let timer = 0;
  const follow = () => {
    clearTimeout(timer);
    showTexts();
    const { current } = queue;
    const parameters = formParameters();
    if (current) timer = setTimeout(() => queue.restart(current, parameters), SETTLE_MILLISECONDS);
  };
  for (const selector of Object.values(FIELDS)) $(selector).addEventListener("input", follow);
  $("#denoise-form").addEventListener("submit", (event) => event.preventDefault());
}

function bindButtons() {
  for (const button of $$("[data-zoom]")) {
    const work = { in: "zoomIn", out: "zoomOut", fit: "fit", full: "full" }[button.dataset.zoom];
    button.addEventListener("click", () => compare[work]());
  }
  $("#sample").addEventListener("click", () => guarded(addSample));
  $("#copy-curl").addEventListener("click", () => copyLine($("#copy-curl"), $("#curl")));
  $("#compare .cancel").addEventListener("click", () => queue.cancel());
}

// Pictures

/** Add the sample, or go to it if it is there. */
async function addSample() {
  if (queue.items.includes(sample)) return select(sample);
  const response = await getFile("sample.jpg");
  const file = new File([await response.blob()], SAMPLE_NAME, { type: "image/jpeg" });
  sample = queue.add(file, formParameters());
  await select(sample);
}

/** Add files to the queue with the parameters in the form, but without the noise of the sample. */
function addFiles(files) {
  if (!files.length) return;
  const parameters = formParameters();
  if (queue.current === sample) parameters.kind = "none";
  const [first] = files.map((file) => queue.add(file, { ...parameters }));
  select(first);
}

async function select(item) {
  queue.current = item;
  drawQueue();
  progress.hide();
  showParameters(item.parameters);
  showError(item.error ? named(item.error, item) : "");
  await showItem(item);
}

function discard(item) {
  const wasCurrent = item === queue.current;
  queue.remove(item);
  if (wasCurrent && queue.current) select(queue.current);
}

function showProgress(item, step) {
  if (item === queue.current) progress.show(step);
}

async function prepared(item) {
  if (item === queue.current) await showItem(item);
}

async function ended(item) {
  const isCurrent = item === queue.current;
  if (item.state === "done") {
    const { milliseconds } = item.result;
    if (item.size) progress.record(item.size.width * item.size.height, milliseconds);
    if (!queue.current?.error) showError("");
    if (isCurrent) announce(`Denoised ${item.file.name} in ${formatMilliseconds(milliseconds)}.`);
  } else if (item.error) showError(named(item.error, item));
  if (isCurrent) {
    progress.hide();
    await showItem(item);
  }
  drawQueue();
}

/** Return the error with the name of the picture, if there are several. */
function named(error, item) {
  if (queue.items.length < 2 || error.status === 401) return error;
  return Object.assign(new Error(`${item.file.name}: ${error.message}`), { status: error.status });
}

async function showItem(item) {
  const result = item.result ?? null;
  $("#compare .badge.left").textContent = item.parameters.kind === "none" ? "Sent" : "With noise";
  await compare.show(item.sentUrl || item.url, result?.url ?? "", true);
  if (item !== queue.current) return;
  showFigures(item, result);
  showDownload(item, result);
  showSent(item, item === sample);
  $("#curl").textContent = curl();
}

function drawQueue() {
  drawPictures(queue.items, queue.current, { onPick: select, onRemove: discard });
}

/** Return the curl line of what is in the form, and of the current picture. */
function curl() {
  const parameters = formParameters();
  const { current } = queue;
  return curlLine(parameters.query, current ? sentFile({ ...current, parameters }) : { name: "photo.jpg", type: "image/jpeg" });
}
