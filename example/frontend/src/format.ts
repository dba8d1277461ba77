const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

const DAY = 24 * 60 * 60 * 1000;

export function timeOf(moment: string): string {
  return clock.format(new Date(moment));
}

export function fullTimeOf(moment: string): string {
  return full.format(new Date(moment));
}

/** "Today", "Yesterday", or the date. */
export function dayOf(moment: string, now: Date = new Date()): string {
  const days = Math.round((startOfDay(new Date(moment)) - startOfDay(now)) / DAY);
  return capitalized(
    days === 0 || days === -1 ? relative.format(days, "day") : date.format(new Date(moment)),
  );
}

function capitalized(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

function startOfDay(moment: Date): number {
  return new Date(moment.getFullYear(), moment.getMonth(), moment.getDate()).getTime();
}

export function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words[words.length - 1] : ""];
  return letters.map((word) => word?.[0] ?? "").join("");
}
