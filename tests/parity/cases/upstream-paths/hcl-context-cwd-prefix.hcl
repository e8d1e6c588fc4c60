target "t" {
  context    = "cwd://below"
  dockerfile = "D"
}
