target "default" { policy = ["filename=extra.rego,strict=true,log-level=warn"] }
