target "default" {
  resources = { cpu-quota = -1 }
}
