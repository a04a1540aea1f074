// What the section Denoise shows beside the comparison: progress, the download and the list of pictures.

import { $, $$, element, format, formatMilliseconds } from "./ui.js";

const EXTENSIONS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp" };
const STATES = { waiting: "Waiting", running: "Working…", cancelled: "Cancelled", failed: "Failed" };

let rate = 1e6 / 1500; // pixels a millisecond, measured at each request

/** Keep the speed of the latest request, in pixels a millisecond, for the estimate of the next. */
export function recordRate(measured) {
  rate = measured;
}

/** Show how far a request is: its phase, the share of it if known, and when it has started. */
export function showProgress({ phase, share, pixels = 0, started = 0 }) {
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

export function hideProgress() {
  $("#compare .wait").hidden = true;
}

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
  return `${file.name.replace(/\.[^.]*$/, "")}.${extension}`;
}

/** Draw the list of pictures. `onPick` and `onRemove` are called with the picture whose button is pressed. */
export function drawPictures(items, current, { onPick, onRemove }) {
  $("#queue").hidden = items.length < 2;
  const focused = $$("#queue button").indexOf(document.activeElement);
  $("#queue ul").replaceChildren(...items.map((item) => queueItem(item, item === current, { onPick, onRemove })));
  $$("#queue button")[focused]?.focus();
}

function queueItem(item, isCurrent, { onPick, onRemove }) {
  const text = item.state === "done" ? `${formatMilliseconds(item.result.milliseconds)}, σ ${format(item.result.sigma * 255)}` : STATES[item.state];
  const pick = element(
    "button",
    { type: "button", className: "pick" },
    element("img", { src: item.url, alt: "", loading: "lazy" }),
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
