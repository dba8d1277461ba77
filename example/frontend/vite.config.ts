import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const django = "http://localhost:8000";

export default defineConfig(({ command }) => ({
  plugins: [react()],
  // Django serves what is built, from the folder that STATICFILES_DIRS names.
  base: command === "build" ? "/static/chat/" : "/",
  server: {
    proxy: {
      "/graphql/": { target: django, ws: true },
      "^/(admin|login|logout|static)/": django,
    },
  },
}));
