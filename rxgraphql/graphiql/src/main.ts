// Only a door: the page names this file, and Django may serve it under a second, hashed name. Whatever
// other chunks import must not live here, or it would be loaded twice.
void import("./app");
