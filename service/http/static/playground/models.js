// The section Models: the cards of what is served, the live figures of /metrics, and rejected versions.

import { forgetModels, getModel, getText, listModels } from "./api.js";
import { cardOf } from "./card.js";
import { Live } from "./live.js";
import { $, element } from "./ui.js";

const PERIOD = 2000;

let timer = 0;
let live;

export async function start() {
  live = new Live($("#live"));
  forgetModels();
  const { models, rejected } = await listModels();
  const all = await Promise.all(models.map(({ name }) => getModel(name)));
  $("#rejected").replaceChildren(...rejectedPanel(rejected));
  $("#cards").replaceChildren(...all.map(cardOf));
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
