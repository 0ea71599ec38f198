// Sending documents, with progress: one after the other, each with what became of it.
import { asError, counted, h } from "./dom.js";

export const ACCEPTED = ".md,.markdown,.txt,.html,.htm,.pdf,.docx";

/** Send one file; `progress(share)` is called with 0 to 1. */
export function sendFile(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("POST", "/v1/documents");
    request.responseType = "json";
    request.upload.addEventListener(
      "progress",
      (event) => event.lengthComputable && progress(event.loaded / event.total),
    );
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(request.response);
      else reject(asError(request.status, request.response ?? {}));
    });
    request.addEventListener("error", () => reject(new Error("The connection to the server was lost.")));
    request.send(form);
  });
}

/** Send files and list in `box` what became of each; returns {added, there, skipped}. */
export async function sendFiles(files, box) {
  const counts = { added: 0, there: 0, skipped: 0 };
  const list = h("ul", { class: "uploads" });
  box.replaceChildren(list);
  for (const file of files) {
    const bar = h("progress", { max: "1", value: "0", "aria-label": `Sending ${file.name}` });
    const said = h("span", { class: "muted" }, "sending…");
    const line = h("li", {}, h("b", {}, file.name), " ", bar, " ", said);
    list.append(line);
    try {
      const kept = await sendFile(file, (share) => {
        bar.value = share;
        if (share === 1) said.textContent = "reading…";
      });
      counts[kept.created ? "added" : "there"] += 1;
      said.textContent = kept.created ? flagged("added", kept.flags) : "was there already";
    } catch (error) {
      counts.skipped += 1;
      line.classList.add("skipped");
      said.textContent = `skipped: ${error.message}`;
    }
    bar.remove();
  }
  return counts;
}

const flagged = (text, flags = []) =>
  flags.length ? `${text}; ${counted(flags.length, "warning")}: ${flags.join(", ").replaceAll("_", " ")}` : text;
