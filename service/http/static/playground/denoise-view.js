// What the section Denoise shows beside the comparison: what can be saved, and the list of pictures.

import { $, $$, element, format, formatMilliseconds } from "./ui.js";

const EXTENSIONS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };
const STATES = { waiting: "Waiting", running: "Working…", cancelled: "Cancelled" };

const withoutExtension = (name) => name.replace(/\.[^.]*$/, "");

/** Let the denoised picture be downloaded; `result` is null before there is one. */
export function showDownload(item, result) {
  const link = $("#download");
  if (result) {
    link.href = result.url;
    link.download = downloadName(item);
    link.removeAttribute("aria-disabled");
  } else {
    link.removeAttribute("href");
    link.setAttribute("aria-disabled", "true");
  }
}

/** Return the name of the original, with the extension of the answer if that is of another type. */
function downloadName({ file, result }) {
  const extension = EXTENSIONS[result.blob.type] ?? "png";
  const own = file.name.split(".").pop().toLowerCase();
  if (own === extension || (own === "jpeg" && extension === "jpg")) return file.name;
  return `${withoutExtension(file.name)}.${extension}`;
}

/** Return {name, type} of the file that is sent: the original, or the one with noise. */
export function sentFile({ file, sent, parameters }) {
  if (parameters.kind === "none") return { name: file.name, type: file.type };
  const type = sent?.type ?? "image/png";
  return { name: `${withoutExtension(file.name)}-noisy.${EXTENSIONS[type] ?? "png"}`, type };
}

/** Let the picture that is sent be saved, unless it is a file of the user. */
export function showSent(item, isSample) {
  const withNoise = item.parameters.kind !== "none";
  $("#sent-note").hidden = !withNoise && !isSample;
  const link = $("#sent-link");
  link.href = (withNoise && item.sentUrl) || item.url;
  link.download = link.textContent = sentFile(item).name;
}

/** Draw the list of pictures. `onPick` and `onRemove` are called with the picture whose button is pressed. */
export function drawPictures(items, current, { onPick, onRemove }) {
  $("#queue").hidden = items.length < 2;
  const focused = $$("#queue button").indexOf(document.activeElement);
  $("#queue ul").replaceChildren(...items.map((item) => queueItem(item, item === current, { onPick, onRemove })));
  $$("#queue button")[focused]?.focus();
}

function queueItem(item, isCurrent, { onPick, onRemove }) {
  const { state, result, error } = item;
  const text = state === "done" ? `${formatMilliseconds(result.milliseconds)}, σ ${format(result.sigma * 255)}` : (error?.message ?? STATES[state]);
  const picture = element("img", { src: item.url, alt: "", loading: "lazy" });
  picture.addEventListener("error", () => (picture.style.visibility = "hidden")); // no picture, or of a format that the browser does not know
  const pick = element(
    "button",
    { type: "button", className: "pick" },
    picture,
    element("b", { textContent: item.file.name }),
    element("span", { textContent: text }),
  );
  pick.addEventListener("click", () => onPick(item));
  if (isCurrent) pick.setAttribute("aria-current", "true");
  const remove = element("button", { type: "button", textContent: "×" });
  remove.setAttribute("aria-label", `Remove ${item.file.name}`);
  remove.addEventListener("click", () => onRemove(item));
  const row = element("li", { className: isCurrent ? "current" : "" }, pick, remove);
  row.dataset.state = item.state;
  return row;
}
