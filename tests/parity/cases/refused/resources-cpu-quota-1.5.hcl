target "default" {
  resources = { cpu-quota = 1.5 }
}
