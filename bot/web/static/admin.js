// The admin pages: one section each, fetched from the API.
import { adaptersSection, approvalSection } from "./admin_adapters.js";
import { cyclesSection, overviewSection, scheduleSection } from "./admin_cycles.js";
import { documentsSection, exchangesSection, peopleSection } from "./admin_lists.js";
import { h } from "./dom.js";

const SECTIONS = {
  overview: overviewSection,
  approval: approvalSection,
  adapters: adaptersSection,
  cycles: cyclesSection,
  exchanges: exchangesSection,
  documents: documentsSection,
  people: peopleSection,
  schedule: scheduleSection,
};
const section = document.getElementById("section");
const content = document.getElementById("content");

async function load() {
  try {
    const shown = await SECTIONS[section.dataset.section](load);
    content.replaceChildren(...[shown].flat());
  } catch (error) {
    content.replaceChildren(h("p", { class: "alert", role: "alert" }, error.message));
  }
  section.setAttribute("aria-busy", "false");
}

document.querySelector('.tabs [aria-current="page"]')?.scrollIntoView({ inline: "center", block: "nearest" });
load();
