// Documents: adding with progress, what was skipped and why, what is stale, what people asked for in vain.
import { call, counted, h, time } from "./dom.js";
import { act, empty, fetched, paged, table } from "./admin_shared.js";
import { attempt, toast } from "./notices.js";
import { ACCEPTED, sendFiles } from "./upload.js";

export async function section(load) {
  const list = h("div");
  const fill = async () =>
    list.replaceChildren(
      ...(await paged(
        "/v1/documents?limit=50",
        (rows) =>
          table(
            ["Title", "Source", "Collection", "Passages", "Changed", ""],
            rows.map((row) => line(row, fill)),
            "",
            "Documents",
          ),
        empty("No documents yet: nothing can be answered. Add some above, or run python -m retrieval ingest FOLDER."),
      )),
    );
  await fill();
  const stale = await call("GET", "/v1/admin/documents/stale?limit=50");
  return [
    adding(fill),
    fetched("Gaps: what people asked about in vain", "/v1/admin/gaps", (found) =>
      found.data.length
        ? h(
            "ul",
            { class: "gaps" },
            ...found.data.map((gap) =>
              h(
                "li",
                {},
                h("b", {}, gap.sentence),
                h("p", { class: "muted" }, gap.examples.map((text) => `“${text}”`).join(" · ")),
              ),
            ),
          )
        : empty("None in the newest answers. This is where documents that are missing will be named."),
    ),
    h(
      "details",
      { class: "box", open: stale.data.length > 0 },
      h("summary", {}, h("h2", {}, `Stale (${stale.data.length}${stale.next ? "+" : ""})`)),
      h(
        "p",
        { class: "muted" },
        "Documents that changed or went after answers were given from them. Adapters trained on those answers are flagged.",
      ),
      table(
        ["Title", "Source", "Now", "Answers from what is gone"],
        stale.data.map((row) => [
          row.title,
          row.source,
          row.removed ? "removed" : "changed",
          String(row.stale_exchanges),
        ]),
        "None.",
        "Stale documents",
      ),
    ),
    h("h2", {}, "Documents"),
    list,
  ];
}

function adding(fill) {
  const file = h("input", { type: "file", name: "file", multiple: true, "aria-label": "Files", accept: ACCEPTED });
  const box = h("div", { role: "status" });
  const button = h("button", { class: "primary small" }, "Upload");
  return h(
    "form",
    {
      class: "box",
      "aria-label": "Add documents",
      onsubmit: (event) => {
        event.preventDefault();
        if (!file.files.length) return toast("Choose one file or several first.", "error");
        button.disabled = true;
        return attempt(async () => {
          const { added, there, skipped } = await sendFiles([...file.files], box);
          toast(
            [
              `${counted(added, "document")} added`,
              there ? `${there} there already` : "",
              skipped ? `${skipped} skipped` : "",
            ]
              .filter(Boolean)
              .join(", ") + ".",
          );
          await fill();
        }).finally(() => {
          button.disabled = false;
          file.value = "";
        });
      },
    },
    h("h2", {}, "Add documents"),
    h("div", { class: "row" }, file, button, h("span", { class: "muted" }, "Markdown, text, HTML, PDF, Word")),
    box,
  );
}

function line(row, fill) {
  return [
    h("b", {}, row.title),
    row.source,
    [row.collection, ...row.tags].filter(Boolean).join(", ") || "–",
    String(row.chunks),
    time(row.updated_at),
    act("Remove", () => call("DELETE", `/v1/documents/${row.id}`), {
      kind: "danger",
      done: "Removed.",
      load: fill,
      name: `Remove ${row.title}`,
      confirm: `“${row.title}” is not answered from any more. Answers given so far stay.`,
    }),
  ];
}
