// The ways by which photos come to the page: a file dialog, a drop anywhere, and a paste.

import { $ } from "./ui.js";

/** Call `take` with the files that are chosen in the dialog. */
export function bindDialog(take) {
  $("#file").addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same file can be chosen again
    take(files);
  });
}

/** Call `take` with the files that are dropped or pasted on any section. */
export function bindDropAndPaste(take) {
  let depth = 0;
  const withFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (shown) => document.body.classList.toggle("dropping", shown);
  document.addEventListener("dragenter", (event) => withFiles(event) && mark(++depth > 0));
  document.addEventListener("dragleave", (event) => withFiles(event) && mark(--depth > 0));
  document.addEventListener("dragover", (event) => withFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark(false);
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
}
