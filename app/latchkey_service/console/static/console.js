// Enhancements of the console: local times, copy buttons, and fields that belong to a radio button.
// The console works without them.
"use strict";

// Pages contain times in UTC. Show them in the viewer's time zone; the tooltip keeps UTC.
const local = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
});
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) time.textContent = local.format(moment);
}

// Filling in a field that belongs to a radio button selects the button. Selecting another button
// clears the field, and selecting the first one again restores it.
const isFilled = (field) =>
  field.type === "checkbox" ? field.checked : field.value !== "" || field.validity.badInput;
for (const form of document.forms) {
  const tied = [...form.querySelectorAll("[data-group]")];
  const kept = new Map();
  const restore = (field) => {
    if (field.type === "checkbox") field.checked = kept.get(field);
    else field.value = kept.get(field);
    kept.delete(field);
  };
  const clear = (field) => {
    if (!isFilled(field)) return;
    kept.set(field, field.type === "checkbox" || field.value);
    if (field.type === "checkbox") field.checked = false;
    else field.value = "";
  };
  form.addEventListener("input", ({ target }) => {
    if (target.dataset.group !== undefined) {
      const group = form.elements[target.dataset.group];
      if (!isFilled(target) || group.value === target.dataset.choice) return;
      group.value = target.dataset.choice;
      for (const field of tied) if (field.dataset.group === target.dataset.group) kept.delete(field);
    } else if (target.type === "radio") {
      for (const field of tied) {
        if (field.dataset.group !== target.name) continue;
        if (field.dataset.choice !== target.value) clear(field);
        else if (kept.has(field)) restore(field);
      }
    }
  });
}

// Copying needs a secure context. Without one, the button selects the text.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (source === null) continue;
  const label = button.innerHTML;
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: copy with the keyboard";
    }
    setTimeout(() => { button.innerHTML = label; }, 2500);
  });
}
