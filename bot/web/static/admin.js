// The admin pages: one section each, its module fetched when it is wanted, its data from the API.
import { h } from "./dom.js";
import { fillIcons } from "./icons.js";

const section = document.getElementById("section");
const content = document.getElementById("content");

async function load() {
  try {
    const module = await import(`./admin_${section.dataset.section}.js`);
    const shown = await module.section(load, section.dataset);
    content.replaceChildren(...[shown].flat().filter(Boolean));
  } catch (error) {
    content.replaceChildren(h("p", { class: "alert", role: "alert" }, error.message));
  }
  section.setAttribute("aria-busy", "false");
}

fillIcons();
document.querySelector('.tabs [aria-current="page"]')?.scrollIntoView({ inline: "center", block: "nearest" });
load();
