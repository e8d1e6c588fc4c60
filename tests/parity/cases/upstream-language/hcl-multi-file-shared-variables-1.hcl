variable "X" { default = "x" }
target "default" { args = { one = "1-${X}" } }
