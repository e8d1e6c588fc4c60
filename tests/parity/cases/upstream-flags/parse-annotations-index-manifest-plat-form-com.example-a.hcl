target "default" { annotations = ["index,manifest[plat/form]:com.example=a"] }
