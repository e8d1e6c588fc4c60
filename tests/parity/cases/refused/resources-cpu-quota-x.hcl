target "default" {
  resources = { cpu-quota = "x" }
}
