// The request of one picture: the noise that is added first, what is sent, and what the answer says.

import { send } from "./api.js";
import { recordRate } from "./denoise-view.js";
import { readStages } from "./figures.js";
import { psnr, withNoise } from "./photo.js";

const MAX_PSNR_PIXELS = 16e6;
const SLOW_MILLISECONDS = 400; // a request that takes longer shows its progress

/**
 * Send a picture as its parameters say, and set its `size`, `sent` and `result`.
 * `onProgress` is called with the phase of a slow request, `onSent` when what is sent is made anew.
 */
export async function denoise(item, { onProgress, onSent }) {
  const { file, abort } = item;
  const { kind, level } = item.noise;
  const slow = setTimeout(() => onProgress({ phase: "preparing", share: null }), SLOW_MILLISECONDS);
  try {
    item.size ??= await sizeOf(file);
    if (kind !== "none" && !item.size) throw new Error("The browser cannot show this format, so noise cannot be added to it. Choose “None”.");
    if (!item.sent) {
      const sent = kind === "none" ? file : await withNoise(file, kind, level);
      abort.signal.throwIfAborted(); // another level may have been chosen meanwhile
      item.sent = sent;
      if (item.sentUrl) URL.revokeObjectURL(item.sentUrl);
      item.sentUrl = item.sent === file ? "" : URL.createObjectURL(item.sent);
      await onSent();
    }
    const pixels = item.size ? item.size.width * item.size.height : 0;
    const started = performance.now();
    let progress = { phase: "sending", share: 0 };
    const timer = setInterval(() => performance.now() - started > SLOW_MILLISECONDS && onProgress({ ...progress, pixels, started }), 100);
    try {
      const answer = await send("denoise", {
        query: item.query,
        body: item.sent,
        type: item.sent.type || "application/octet-stream",
        signal: abort.signal,
        onProgress: (phase, share) => (progress = { phase, share }),
      });
      const blob = new Blob([answer.body], { type: answer.header("Content-Type") });
      if (pixels) recordRate(pixels / answer.milliseconds);
      keep(item, blob, answer);
    } finally {
      clearInterval(timer);
    }
    if (kind !== "none" && pixels <= MAX_PSNR_PIXELS) {
      const [sent, denoised] = await Promise.all([psnr(file, item.sent), psnr(file, item.result.blob)]);
      item.result.psnr = { sent, denoised };
    }
  } finally {
    clearTimeout(slow);
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
