// Arrays as files of NumPy's format, which the service takes and returns without base64.

export const NPY = "application/x-npy";

/** Return a C-ordered .npy file of a Uint8Array or Float32Array. */
export function toNpy(values, shape) {
  const kind = values instanceof Float32Array ? "<f4" : "|u1";
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${sizes}), }`;
  header += " ".repeat(63 - ((10 + header.length) % 64)) + "\n";
  const file = new Uint8Array(10 + header.length + values.byteLength);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  file.set(new TextEncoder().encode(header), 10);
  file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 10 + header.length);
  return file;
}

/** Return {values, shape} of a .npy file with bytes or little-endian floats of 32 bits. */
export function fromNpy(buffer) {
  const start = 10 + new DataView(buffer).getUint16(8, true);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 10, start - 10));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  const data = buffer.slice(start);
  return { values: header.includes("f4") ? new Float32Array(data) : new Uint8Array(data), shape };
}
