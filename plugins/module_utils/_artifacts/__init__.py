# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build binaries and images from package registries and cache them by the hash of their inputs.

``model``, ``keys``, ``plan``, ``commands``, ``golang``, ``hostsettings`` and ``diagnosis`` are pure.
``sources``, ``store``, ``process``, ``toolchain``, ``host``, ``builders`` and ``engine`` touch files and run
programs.
"""
