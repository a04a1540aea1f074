// A model in readable form: its card, its quality beside the baselines, and how it runs here and why.

import { element, format, formatMilliseconds } from "./ui.js";

const FIGURES = { mse: "Mean squared error", psnr: "PSNR in dB", bce: "Cross-entropy in nats per pixel", active_share: "Share of active units" };
const BASELINES = [
  [/^pca-(\d+)$/, "PCA with $1 numbers"],
  [/^lmmse \(affine\)$/, "linear estimator (LMMSE)"],
  [/^median (\d+)x(\d+)$/, "median filter, $1 × $2"],
  [/^gaussian ([\d.]+)$/, "Gaussian filter, σ $1"],
  [/^noisy input$/, "the noisy input itself"],
];

/** Return the card of a served model as an element. */
export function cardOf(model) {
  const { card: facts } = model;
  const tags = model.operations.map((operation) => {
    const standard = model.default_for.includes(operation);
    return element("span", { className: standard ? "tag default" : "tag", textContent: standard ? `${operation}, default` : operation });
  });
  return element(
    "article",
    { className: "panel card", id: `model-${model.name}` },
    element("header", {}, element("h3", { textContent: facts.title }), element("code", { textContent: `${model.name}, version ${model.version}` })),
    element("p", { textContent: facts.description }),
    element("div", { className: "tags" }, ...tags),
    quality(facts),
    details("What it is", [
      ["Input", inputText(facts.input)],
      ["Code", facts.code.shape.map((side) => side ?? "any").join(" × ")],
      ["Family", `${facts.family}, ${facts.parameters.toLocaleString("en")} parameters`],
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
  return `pictures, ${size}, ${input.channels === 1 ? "grey" : "colour"}`;
}

/** Return a table of the main figure, of the model and its baselines, the best first. */
function quality({ quality: { data, figures, baselines } }) {
  const name = mainFigure(figures);
  if (!name) return element("p", { className: "note", textContent: "The card has no figures." });
  const rows = [{ label: "this model", value: figures[name], ours: true }];
  for (const [label, values] of Object.entries(baselines)) rows.push({ label, value: values[name], ours: false });
  const moreIsBetter = name.includes("psnr");
  const known = rows.filter(({ value }) => value != null).sort((a, b) => (moreIsBetter ? b.value - a.value : a.value - b.value));
  const body = known.map(({ label, value, ours }) => {
    const head = element("th", { scope: "row", textContent: baselineText(label), data: { baseline: label } });
    return element("tr", { className: ours ? "ours" : "" }, head, element("td", { textContent: format(value) }));
  });
  const caption = element(
    "caption",
    {},
    element("b", { textContent: figureText(name) }),
    element("span", { textContent: `${moreIsBetter ? "More" : "Less"} is better. Measured on: ${data.replace(" (bce before rounding)", "")}` }),
  );
  return element("table", {}, caption, element("tbody", {}, ...body));
}

/** Return the name of a baseline in words; one that this page does not know is as it is in the card. */
function baselineText(label) {
  return BASELINES.reduce((text, [pattern, words]) => text.replace(pattern, words), label);
}

/** Return the name of the figure that tells most: the PSNR, at sigma 25 where there are several levels, else the error. */
function mainFigure(figures) {
  const names = Object.keys(figures);
  return ["denoise_psnr_25", "denoise_psnr", "reconstruct_psnr", "reconstruct_mse"].find((name) => name in figures) ?? names[0];
}

function figureText(name) {
  const [, operation, kind, level] = name.match(/^(?:int8_)?([a-z]+)_(psnr|mse|bce|active_share|[a-z_]+?)(?:_(\d+))?$/) ?? [];
  if (!operation) return name.replaceAll("_", " ");
  return `${FIGURES[kind] ?? kind.replaceAll("_", " ")} of ${operation}${level ? ` at noise of σ ${level}` : ""}`;
}

/** Return the choices for how a model runs, with their reasons. What is the same for several operations stands once. */
function execution(model) {
  const operations = new Map(); // by choice and text
  for (const [operation, choices] of Object.entries(model.execution)) {
    for (const [choice, { value, reason }] of Object.entries(choices)) {
      const key = JSON.stringify([choice.replaceAll("_", " "), `${value}: ${reason}`]);
      operations.set(key, [...(operations.get(key) ?? []), operation]);
    }
  }
  const shared = Object.keys(model.execution).length;
  return [...operations].map(([key, names]) => {
    const [choice, text] = JSON.parse(key);
    return [names.length === shared ? choice : `${choice} (${names.join(", ")})`, text];
  });
}

function details(title, pairs) {
  const rows = pairs.map(([name, text]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: String(text) })));
  return element("details", {}, element("summary", { textContent: title }), element("dl", {}, ...rows));
}
