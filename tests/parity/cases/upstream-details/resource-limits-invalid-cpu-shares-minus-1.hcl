target "default" {
  resources = { cpu-shares = -1 }
}
