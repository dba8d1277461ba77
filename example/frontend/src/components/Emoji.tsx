import type { ReactNode } from "react";

/** Drawn here, so that they look the same on every system. Any other emoji is shown as text. */
const PICTURES: Record<string, ReactNode> = {
  "👍": (
    <>
      <path
        fill="#f5b83d"
        d="M9 10.5 12.6 3c1.7 0 2.9 1.3 2.6 3l-.6 3.2h4.2c1.5 0 2.5 1.3 2.2 2.7l-1.3 6.3c-.3 1.2-1.2 1.8-2.3 1.8H9z"
      />
      <path fill="#4f7df0" d="M3 10.5h4.6V20H3z" />
    </>
  ),
  "❤️": (
    <path
      fill="#e5484d"
      d="M12 20.5C5.5 15.6 2.5 12.4 2.5 8.7A5 5 0 0 1 12 6.5a5 5 0 0 1 9.5 2.2c0 3.7-3 6.9-9.5 11.8z"
    />
  ),
  "😂": (
    <>
      <circle cx="12" cy="12" r="9" fill="#f8cd46" />
      <path fill="#6b3f0b" d="M6.5 12.5h11a5.5 5.5 0 0 1-11 0z" />
      <path
        fill="none"
        stroke="#6b3f0b"
        strokeWidth="1.4"
        strokeLinecap="round"
        d="m6.8 9.8 1.8-1.6 1.8 1.6M13.6 9.8l1.8-1.6 1.8 1.6"
      />
      <path
        fill="#4aa8ff"
        d="M4.2 11.5c1.3 1.7 1.4 4-.4 4.4-2 .4-2.6-1.9.4-4.4zM19.8 11.5c-1.3 1.7-1.4 4 .4 4.4 2 .4 2.6-1.9-.4-4.4z"
      />
    </>
  ),
  "🎉": (
    <>
      <path fill="#f5b83d" d="m3 21 4.7-12.5 7.8 7.8z" />
      <path fill="#e5484d" d="m6.2 12.6 5.2 5.2-2.6 1-3.9-3.9z" />
      <path
        fill="none"
        stroke="#4f7df0"
        strokeWidth="1.8"
        strokeLinecap="round"
        d="M12 9c1.5-1.5 1.8-3.5.8-5.5M15.5 12c2-1.6 4-1.7 5.5-.6"
      />
      <circle cx="17.5" cy="6.5" r="1.6" fill="#30a46c" />
      <circle cx="19.5" cy="16" r="1.3" fill="#e5484d" />
      <circle cx="7.5" cy="4.5" r="1.3" fill="#8b5cf6" />
    </>
  ),
  "👀": (
    <>
      <ellipse cx="7.2" cy="12" rx="4.7" ry="7" fill="#fff" stroke="#55516b" strokeWidth="1.2" />
      <ellipse cx="16.8" cy="12" rx="4.7" ry="7" fill="#fff" stroke="#55516b" strokeWidth="1.2" />
      <circle cx="8.8" cy="13.2" r="2.2" fill="#2b2840" />
      <circle cx="18.4" cy="13.2" r="2.2" fill="#2b2840" />
    </>
  ),
  "🚀": (
    <>
      <path fill="#f59e2d" d="M7.5 15.5 4 20l4.8-3z" />
      <path fill="#e5484d" d="m9 9.5-4.5.8 2.8 3.4zM14.5 15l-.8 4.5-3.4-2.8z" />
      <path
        fill="#dfe3f2"
        stroke="#7b7f9e"
        strokeWidth=".8"
        d="M20.5 3.5c-5.5-.3-9.5 2.8-12.3 8l3.3 3.3 1 1c5.2-2.8 8.3-6.8 8-12.3z"
      />
      <circle cx="15" cy="9" r="2" fill="#4f7df0" />
    </>
  ),
};

export const EMOJI = ["👍", "❤️", "😂", "🎉", "👀", "🚀"];

const NAMES: Record<string, string> = {
  "👍": "thumbs up",
  "❤️": "heart",
  "😂": "laughing",
  "🎉": "party",
  "👀": "eyes",
  "🚀": "rocket",
};

export function emojiName(emoji: string): string {
  return NAMES[emoji] ?? emoji;
}

export function Emoji({ emoji }: { emoji: string }) {
  const picture = PICTURES[emoji];
  return picture ? (
    <svg className="emoji" viewBox="0 0 24 24" aria-hidden="true">
      {picture}
    </svg>
  ) : (
    <span className="emoji" aria-hidden="true">
      {emoji}
    </span>
  );
}
