// Adds noise to pixels, and compares them. Level 0..100: Gaussian has that sigma of 255, the others that share in percent.

import { normal, seeded } from "./random.js";

const SEED = 20260;

function addNoise({ kind, level, photons, buffer }) {
  const pixels = new Uint8ClampedArray(buffer);
  const uniform = seeded(SEED);
  const share = level / 100;
  const change = {
    gaussian: (value) => value + level * normal(uniform),
    poisson: (value) => (poisson((value / 255) * photons, uniform) / photons) * 255,
  }[kind];
  for (let at = 0; at < pixels.length; at += 4) {
    if (change) {
      for (let channel = 0; channel < 3; channel++) pixels[at + channel] = change(pixels[at + channel]);
    } else if (uniform() < share) {
      pixels.fill(kind === "salt" && uniform() < 0.5 ? 255 : 0, at, at + 3);
    }
  }
  return buffer;
}

/** Return a Poisson number with this mean: by multiplication (Knuth), or by the normal distribution from 30 on. */
function poisson(mean, uniform) {
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(uniform)));
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = uniform(); product > limit; product *= uniform()) count++;
  return count;
}

function psnr([first, second]) {
  const a = new Uint8Array(first);
  const b = new Uint8Array(second);
  let sum = 0;
  for (let at = 0; at < a.length; at += 4) {
    for (let channel = 0; channel < 3; channel++) sum += (a[at + channel] - b[at + channel]) ** 2;
  }
  return 10 * Math.log10((255 ** 2 * 3 * a.length) / 4 / sum);
}

onmessage = ({ data }) => {
  if (data.kind === "psnr") {
    postMessage({ task: data.task, result: psnr(data.buffers) });
  } else {
    const result = addNoise(data);
    postMessage({ task: data.task, result }, [result]);
  }
};
