target "default" {
  resources = { memory = "2g", memory-swap = "4g", cpu-shares = 1024, cpu-period = 100000, cpu-quota = 50000, cpuset-cpus = "0-3", cpuset-mems = "0" }
}
