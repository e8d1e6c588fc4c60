variable "target" { default = "x" }
variable "BAKE_CMD_CONTEXT" { default = "x" }
variable "group" { default = "x" }
target = "x"
group = "x"
BAKE_LOCAL_PLATFORM = "x"
target "a" { tags = ["t"] }
target "default" { args = { c = BAKE_CMD_CONTEXT, p = BAKE_LOCAL_PLATFORM == "x", t = target.a.tags[0] } }
