variable "BASE" { default = "base" }
target "default" { args = { two = "${A}!" } }
