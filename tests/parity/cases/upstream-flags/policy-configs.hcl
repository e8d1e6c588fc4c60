target "default" {
  policy = [
    { filename = "a.rego", reset = true, strict = true, log-level = "warn" },
    "filename=b.rego,disabled=true",
    { filename = "c.rego", reset = "false", strict = "0" },
    "filename=d.rego,filename=e.rego,log-level=trace",
    "strict=false",
  ]
}
target "levels" { policy = [for l in ["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace", "WARN"] : { filename = "x", log-level = l }] }
target "read" { args = { v = jsonencode(target.default.policy) } }
