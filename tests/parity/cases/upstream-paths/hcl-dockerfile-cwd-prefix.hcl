target "t" {
  context    = "."
  dockerfile = "cwd://D.here"
}
