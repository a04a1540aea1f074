// The request of one picture: the noise that is added first, what is sent, and what the answer says.

import { send } from "./api.js";
import { readStages } from "./figures.js";
import { psnr, withNoise } from "./photo.js";

const MAX_PSNR_PIXELS = 16e6;
const SLOW_MILLISECONDS = 400; // a request that takes longer shows its progress

/**
 * Send a picture as its parameters say, and set its `size`, `sent` and `result`.
 * `onProgress` is called with the phase of a slow request, `onSent` when what is sent is made anew.
 */
export async function denoise(item, { onProgress, onSent }) {
  const slow = setTimeout(() => onProgress({ phase: "preparing", share: null }), SLOW_MILLISECONDS);
  try {
    item.size ??= await sizeOf(item.file);
    if (!item.sent) {
      await prepare(item);
      await onSent();
    }
  } finally {
    clearTimeout(slow);
  }
  keep(item, await request(item, onProgress));
  await compareWithOriginal(item);
}

/** Make what is sent of a picture: the file itself, or a new one with noise. */
async function prepare(item) {
  const { kind, level } = item.parameters;
  if (kind !== "none" && !item.size) throw new Error("The browser cannot show this format, so noise cannot be added to it. Choose “None”.");
  const sent = kind === "none" ? item.file : await withNoise(item.file, kind, level);
  item.abort.signal.throwIfAborted(); // another level may have been chosen meanwhile
  item.sent = sent;
  if (item.sentUrl) URL.revokeObjectURL(item.sentUrl);
  item.sentUrl = sent === item.file ? "" : URL.createObjectURL(sent);
}

async function request({ sent, size, parameters, abort }, onProgress) {
  const pixels = size ? size.width * size.height : 0;
  const started = performance.now();
  let progress = { phase: "sending", share: 0 };
  const report = () => performance.now() - started > SLOW_MILLISECONDS && onProgress({ ...progress, pixels, started });
  const timer = setInterval(report, 100);
  try {
    return await send("denoise", {
      query: parameters.query,
      body: sent,
      type: sent.type || "application/octet-stream",
      signal: abort.signal,
      onProgress: (phase, share) => (progress = { phase, share }),
    });
  } finally {
    clearInterval(timer);
  }
}

function keep(item, answer) {
  if (item.result) URL.revokeObjectURL(item.result.url);
  const blob = new Blob([answer.body], { type: answer.header("Content-Type") });
  item.result = {
    blob,
    stages: readStages(answer.header("Server-Timing")),
    url: URL.createObjectURL(blob),
    milliseconds: answer.milliseconds,
    sigma: Number(answer.header("X-Noise-Sigma")),
    dropped: answer.header("X-Metadata-Dropped"),
    resized: answer.header("X-Original-Size"),
    depth: answer.header("X-Original-Bit-Depth"),
  };
}

/** Set the PSNR of a picture to which noise was added: its original is known. */
async function compareWithOriginal({ file, sent, size, result }) {
  if (sent === file || size.width * size.height > MAX_PSNR_PIXELS) return;
  const [before, after] = await Promise.all([psnr(file, sent), psnr(file, result.blob)]);
  result.psnr = { sent: before, denoised: after };
}

/** Return the size of a picture, or null if the browser does not know its format. */
async function sizeOf(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    bitmap.close();
    return { width, height };
  } catch {
    return null;
  }
}
