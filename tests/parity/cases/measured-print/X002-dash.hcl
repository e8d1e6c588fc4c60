target "default" { dockerfile = "-" }
