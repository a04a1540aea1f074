// The frame of the page: sections by the fragment of the address, the API key and the theme.

import { base, forgetModels, noAnswer, useKey } from "./api.js";
import { $, $$, announce, guarded, showError } from "./ui.js";

const SECTIONS = {
  denoise: () => import("./denoise.js"),
  latent: () => import("./latent.js"),
  reconstruct: () => import("./reconstruct.js"),
  generate: () => import("./generate.js"),
  models: () => import("./models.js"),
};
const opened = new Set();
const outdated = new Set(); // opened sections that have not used the present key yet
let current = "";

/** Return the module of a section. */
function load(name) {
  return SECTIONS[name]().catch((error) => {
    throw error instanceof TypeError ? noAnswer() : error; // a TypeError says that the file could not be fetched
  });
}

/**
 * Show the section that the address names, such as #latent, and choose a model that it names, as in #latent/digits-2d.
 * The section's module is loaded at the first time, and its `show` is called each time.
 */
async function navigate() {
  const [wanted, model = ""] = location.hash.slice(1).split("/");
  const name = wanted in SECTIONS ? wanted : "denoise";
  if (name === current) return chooseModel(name, model);
  const previous = current;
  current = name;
  for (const id of Object.keys(SECTIONS)) $(`#section-${id}`).hidden = id !== name;
  for (const link of $$(".top nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = $(`#section-${name} h1`).textContent;
  document.title = `${heading} – Hourglass`;
  if (previous) {
    showError("");
    window.scrollTo(0, 0);
    $("#main").focus({ preventScroll: true });
    announce(heading);
    (await load(previous).catch(() => null))?.hide?.();
  }
  await open(name);
  chooseModel(name, model);
}

/** Choose a model in a section, or show its card. Nothing happens if the service does not have it. */
function chooseModel(section, model) {
  if (!model) return;
  if (section === "models") $(`#model-${CSS.escape(model)}`)?.scrollIntoView();
  const select = $(`#section-${section} select[data-models]`);
  if (!select || ![...select.options].some(({ value }) => value === model)) return;
  select.value = model;
  for (const type of ["input", "change"]) select.dispatchEvent(new Event(type));
}

async function open(name) {
  await guarded(async () => {
    const section = await load(name);
    if (!opened.has(name)) {
      opened.add(name);
      try {
        await section.start();
      } catch (error) {
        opened.delete(name);
        throw error;
      }
    }
    if (outdated.has(name)) await section.retry?.();
    outdated.delete(name);
    if (current === name) section.show?.();
  });
}

function bindKey() {
  const button = $("#key-button");
  const panel = $("#key-panel");
  const toggle = (shown) => {
    panel.hidden = !shown;
    button.setAttribute("aria-expanded", String(shown));
    if (shown) $("#key-field").focus();
  };
  button.addEventListener("click", () => toggle(panel.hidden));
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    toggle(false);
    button.focus();
  });
  panel.addEventListener("submit", async (event) => {
    event.preventDefault();
    useKey($("#key-field").value);
    toggle(false);
    showError("");
    forgetModels();
    for (const name of opened) outdated.add(name);
    await open(current);
  });
  document.addEventListener("key-needed", () => {
    if (panel.hidden) toggle(true);
  });
}

function bindTheme() {
  $("#theme-button").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    root.style.colorScheme = dark ? "light" : "dark";
    document.dispatchEvent(new CustomEvent("theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("theme")));
}

for (const link of $$("[data-docs]")) link.href = new URL("docs", base).href;
bindKey();
bindTheme();
load("denoise").then((section) => section.bindDocument());
window.addEventListener("hashchange", navigate);
await navigate();
for (const name of Object.keys(SECTIONS)) load(name).catch(() => {}); // so that the others open at once
