import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Not `changeOrigin`: to Django, page and requests must be of one host.
const django = { target: "http://localhost:8000", ws: true };

export default defineConfig(({ command }) => ({
  plugins: [react()],
  // Django serves what is built, from the folder that STATICFILES_DIRS names.
  base: command === "build" ? "/static/chat/" : "/",
  server: {
    proxy: {
      "^/(graphql|admin|login|logout|static)/": django,
    },
  },
}));
