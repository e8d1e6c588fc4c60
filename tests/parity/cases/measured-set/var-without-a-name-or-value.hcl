variable "V" { default = "d" }
target "default" { args = { V = V } }
