import { plural } from "./plural.js";

for (const item of document.querySelectorAll("li")) {
  item.title = plural(item.textContent.trim().length, "character");
}
