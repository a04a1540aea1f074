// The section Models: the cards in readable form, how each model runs here, and the live figures of /metrics.

import { forgetModels, getModel, getText, listModels } from "./api.js";
import { Live } from "./live.js";
import { $, element, format, formatMilliseconds } from "./ui.js";

const FIGURES = { mse: "mean squared error", psnr: "PSNR, dB", bce: "cross-entropy, nats per pixel", active_share: "share of active units" };
const PERIOD = 2000;

let timer = 0;
let live;

export async function start() {
  live = new Live($("#live"));
  forgetModels();
  const { models, rejected } = await listModels();
  const all = await Promise.all(models.map(({ name }) => getModel(name)));
  $("#rejected").replaceChildren(...rejectedPanel(rejected));
  $("#cards").replaceChildren(...all.map(card));
}

export function show() {
  clearInterval(timer);
  timer = setInterval(tick, PERIOD);
  tick();
}

export function hide() {
  clearInterval(timer);
}

export async function retry() {
  await start();
  show();
}

let failed = false;

async function tick() {
  if (document.hidden) return;
  try {
    live.update(await getText("metrics"), performance.now());
    if (failed) $("#live-note").textContent = "From /metrics, every two seconds";
    failed = false;
  } catch (error) {
    failed = true;
    $("#live-note").textContent = error.status === 404 ? "/metrics is switched off by a setting of this service." : error.message;
    if (error.status === 404) hide();
  }
}

function rejectedPanel(rejected) {
  if (!rejected.length) return [];
  const rows = rejected.map(({ name, version, reason }) => element("li", {}, element("b", { textContent: `${name} ${version}: ` }), reason));
  return [element("div", { className: "panel spaced" }, element("h2", { textContent: "Rejected versions" }), element("ul", {}, ...rows))];
}

function card(model) {
  const { card: facts } = model;
  const tags = model.operations.map((operation) => {
    const standard = model.default_for.includes(operation);
    return element("span", { className: standard ? "tag default" : "tag", textContent: standard ? `${operation}, default` : operation });
  });
  return element(
    "article",
    { className: "panel card", id: `model-${model.name}` },
    element("header", {}, element("h3", { textContent: facts.title }), element("code", { textContent: `${model.name} ${model.version}` })),
    element("p", { textContent: facts.description }),
    element("div", { className: "tags" }, ...tags),
    quality(facts),
    details("What it is", [
      ["Input", inputText(facts.input)],
      ["Code", facts.code.shape.map((side) => side ?? "any").join(" × ")],
      ["Family and weights", `${facts.family}, ${facts.parameters.toLocaleString("en")} numbers`],
      ["Trained on", `${facts.data.name}, ${facts.data.count.toLocaleString("en")} items, ${facts.data.licence}`],
      ["Made", `${facts.made.date}, seed ${facts.made.seed}, ${formatMilliseconds(facts.made.seconds * 1e3)} of training`],
      ["Licence", facts.licence],
      ["Versions", model.versions.join(", ")],
    ]),
    details("How it runs here, and why", execution(model)),
  );
}

function inputText(input) {
  if (input.kind === "vector") return `${input.features} numbers`;
  const size = input.height ? `${input.width} × ${input.height}` : "any size";
  return `pictures, ${size}, ${input.channels === 1 ? "gray" : "colour"}`;
}

/** Return a table of the main figure, of the model and its baselines, the best first. */
function quality({ quality: { data, figures, baselines } }) {
  const name = mainFigure(figures);
  if (!name) return element("p", { className: "note", textContent: "The card has no figures." });
  const rows = [["this model", figures[name], true], ...Object.entries(baselines).map(([label, values]) => [label, values[name], false])].filter(
    ([, value]) => value != null,
  );
  const better = /psnr/.test(name) ? (a, b) => b[1] - a[1] : (a, b) => a[1] - b[1];
  const body = rows.sort(better).map(([label, value, ours]) => {
    const head = element("th", { scope: "row", textContent: label });
    return element("tr", { className: ours ? "ours" : "" }, head, element("td", { textContent: format(value) }));
  });
  const caption = element("caption", { textContent: `${figureText(name)}, on ${data}` });
  return element("table", {}, caption, element("tbody", {}, ...body));
}

/** Return the name of the figure that tells most: the PSNR, at sigma 25 where there are several levels, else the error. */
function mainFigure(figures) {
  const names = Object.keys(figures);
  return ["denoise_psnr_25", "denoise_psnr", "reconstruct_psnr", "reconstruct_mse"].find((name) => name in figures) ?? names[0];
}

function figureText(name) {
  const [, operation, kind, level] = name.match(/^(?:int8_)?([a-z]+)_(psnr|mse|bce|active_share|[a-z_]+?)(?:_(\d+))?$/) ?? [];
  if (!operation) return name.replaceAll("_", " ");
  return `${operation}: ${FIGURES[kind] ?? kind.replaceAll("_", " ")}${level ? `, noise of sigma ${level}` : ""}`;
}

function execution(model) {
  return Object.entries(model.execution).flatMap(([operation, choices]) =>
    Object.entries(choices).map(([name, { value, reason }]) => [`${operation}: ${name.replaceAll("_", " ")}`, `${value} (${reason})`]),
  );
}

function details(title, pairs) {
  const rows = pairs.map(([name, text]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: String(text) })));
  return element("details", {}, element("summary", { textContent: title }), element("dl", {}, ...rows));
}
