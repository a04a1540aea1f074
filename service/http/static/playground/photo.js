// A photograph and its synthetic noise. The work on pixels is done by a worker, so that the page stays responsive.

const KINDS = {
  none: { text: () => "–" },
  gaussian: { text: (level) => `σ ${level}` },
  poisson: { text: (level) => `${photons(level)} photons` },
  salt: { text: (level) => `${level} %` },
  masking: { text: (level) => `${level} %` },
};
const MAX_PNG_PIXELS = 13e6; // the PNG of a noisy picture has about 3 bytes a pixel; larger ones are sent as JPEG
const worker = new Worker(new URL("./noise-worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let tasks = 0;

worker.onmessage = ({ data }) => {
  waiting.get(data.task)(data.result);
  waiting.delete(data.task);
};

function run(message, transfer = []) {
  return new Promise((resolve) => {
    const task = tasks++;
    waiting.set(task, resolve);
    worker.postMessage({ task, ...message }, transfer);
  });
}

/** Return the number of photons at white for a level in 0..100: fewer at a higher level. */
export function photons(level) {
  return Math.max(1, Math.round(2 ** ((100 - level) / 12)));
}

/** Return the amount of noise at a level (0..100) in the words of its kind. */
export const levelText = (kind, level) => KINDS[kind].text(level);

async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const alpha = blob.type !== "image/jpeg"; // so that the noisy picture of a photo is a PNG of three channels
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { canvas, context, image: context.getImageData(0, 0, canvas.width, canvas.height) };
}

/** Return the photo with noise as a file: PNG, or JPEG of the best quality for a large one. */
export async function withNoise(blob, kind, level) {
  const { canvas, context, image } = await pixelsOf(blob);
  const { width, height } = image;
  const buffer = await run({ kind, level, photons: photons(level), buffer: image.data.buffer }, [image.data.buffer]);
  context.putImageData(new ImageData(new Uint8ClampedArray(buffer), width, height), 0, 0);
  const type = width * height > MAX_PNG_PIXELS ? "image/jpeg" : "image/png";
  return canvas.convertToBlob({ type, quality: 1 });
}

/** Return the PSNR in dB of two pictures of one size, or null if their sizes differ. */
export async function psnr(first, second) {
  const [a, b] = await Promise.all([pixelsOf(first), pixelsOf(second)]);
  if (a.image.width !== b.image.width || a.image.height !== b.image.height) return null;
  const buffers = [a.image.data.buffer, b.image.data.buffer];
  return run({ kind: "psnr", buffers }, buffers);
}
