// Numbers and times for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const moment = new Intl.DateTimeFormat("en-CA", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});

export const count = (number) => whole.format(number);
export const rate = (number) => (number > 0 && number < 10 ? tenth : whole).format(number);
export const percent = (share) => (share === null ? "–" : `${tenth.format(Math.floor(share * 1000) / 10)} %`);
export const time = (ms) => clock.format(ms);
export const dateTime = (ms) => moment.format(ms).replace(",", "");

/** Returns a length of time, from milliseconds. */
export function duration(ms) {
  if (ms === null) return "–";
  if (ms < 9.95) return `${tenth.format(ms)} ms`;
  return ms < 999.5 ? `${whole.format(ms)} ms` : `${tenth.format(ms / 1000)} s`;
}
