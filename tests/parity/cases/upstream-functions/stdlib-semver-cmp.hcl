target "default" {
  args = {
    v0 = jsonencode(semvercmp("1.2.3", ">= 1.0.0"))
    v1 = jsonencode(semvercmp("2.1.0", "< 2.0.0"))
    v2 = jsonencode(semvercmp("3.22", ">= 3.20"))
    v3 = jsonencode(can(semvercmp("no-version", ">= 1")))
    v4 = jsonencode(can(semvercmp("1.2.3", "no-constraint")))
    v5 = jsonencode(can(semvercmp("", ">= 1")))
    v6 = jsonencode(can(semvercmp("1.2.3", "")))
  }
}
