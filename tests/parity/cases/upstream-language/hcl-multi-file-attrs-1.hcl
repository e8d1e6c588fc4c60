variable "V" { default = "d" }
target "default" { args = { v = "<${V}>" } }
