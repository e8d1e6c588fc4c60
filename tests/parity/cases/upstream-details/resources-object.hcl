target "default" {
  resources = { memory = "1g", cpuset-cpus = "0" }
}
