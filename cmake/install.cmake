# Programs are installed by pmemd_program(); here is what goes with them.

install(FILES LICENSE README.md TYPE DOC)
add_custom_target(product)
add_dependencies(product pmemd pmemctl pmemd_client pmemd_client_static pmemd_shim)

# pmemd_systemd_dir(<out> <variable of systemd.pc> <default>): where systemd wants a kind of file,
# below the prefix: /usr/lib/x or, before /usr was merged, /lib/x is lib/x here.
function(pmemd_systemd_dir out variable default)
  pkg_get_variable(dir systemd ${variable})
  if(NOT dir)
    set(dir ${default})
  endif()
  string(REGEX REPLACE "^(/usr)?/" "" dir "${dir}")
  set(${out} ${dir} PARENT_SCOPE)
endfunction()

# pmemd_install_systemd(<file in systemd/> <directory> <name there>); from <file>.in, with the
# @VARIABLES@ in it replaced, where that exists.
function(pmemd_install_systemd file dir name)
  set(path ${PROJECT_SOURCE_DIR}/systemd/${file})
  if(EXISTS ${path}.in)
    configure_file(${path}.in ${PROJECT_BINARY_DIR}/systemd/${file} @ONLY)
    set(path ${PROJECT_BINARY_DIR}/systemd/${file})
  endif()
  install(FILES ${path} DESTINATION ${dir} RENAME ${name})
endfunction()

pmemd_systemd_dir(unit_dir systemdsystemunitdir lib/systemd/system)
pmemd_systemd_dir(sysusers_dir sysusersdir lib/sysusers.d)
pmemd_systemd_dir(tmpfiles_dir tmpfilesdir lib/tmpfiles.d)
pmemd_install_systemd(pmemd@.service ${unit_dir} pmemd@.service)
pmemd_install_systemd(pmemd.sysusers ${sysusers_dir} pmemd.conf)
pmemd_install_systemd(pmemd.tmpfiles ${tmpfiles_dir} pmemd.conf)
