// Light or dark: as the system is, or as chosen here.
import { effect, signal } from "@preact/signals";

const NAME = "scenehash-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = signal<"light" | "dark" | null>(stored());

export const isDark = signal(false);

function stored(): "light" | "dark" | null {
  try {
    const value = localStorage.getItem(NAME);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null;
  }
}

/** Change between light and dark. */
export function toggleTheme(): void {
  chosen.value = isDark.value ? "light" : "dark";
  try {
    localStorage.setItem(NAME, chosen.value);
  } catch {
    // it then lasts until the page is loaded again
  }
}

/** Follow the system, and what is chosen. */
export function startTheme(): void {
  const apply = (): void => {
    isDark.value = chosen.value ? chosen.value === "dark" : system.matches;
    document.documentElement.dataset["theme"] = isDark.value ? "dark" : "light";
  };
  system.addEventListener("change", apply);
  effect(apply);
}
